"""What a course is made of, as its events say it: texts, prices, media, curriculum, and the rules of each."""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from worker.contract.fields import (
    MAX_LESSONS,
    Count,
    Currency,
    Id,
    Maybe,
    Name,
    Number,
    Percent,
    Url,
    whole,
)
from worker.contract.models import Details

_ONE_LINE: Final = {"not": {"pattern": r"\n"}}
# A course has so many words at most, in one place; a whole curriculum is bounded by the size of the record.
_LONGEST_TEXT = 100_000
MOST_MODULES = 500

Text = Annotated[str, Field(max_length=_LONGEST_TEXT)]
Sentence = Annotated[str, Field(max_length=2_000)]
Title = Annotated[str, Field(min_length=3, max_length=200)]
Slug = Annotated[str, Field(max_length=200, pattern=r"^[a-z0-9-]+$", json_schema_extra=_ONE_LINE)]
Amount = Annotated[
    str, Field(max_length=12, pattern=r"^[0-9]{1,9}(\.[0-9]{1,2})?$", json_schema_extra=_ONE_LINE)
]
Version = Annotated[str, Field(min_length=1, max_length=50)]
Level = Literal["beginner", "intermediate", "advanced"]
Minutes = Annotated[int, Field(ge=0, le=10_000_000), BeforeValidator(whole)]
Sentences = Annotated[list[Sentence], Field(max_length=200)]
Tags = Annotated[list[Name], Field(max_length=200)]


class Description(Details):
    """What the course is about, from one sentence to a page; a part that is left out stays, null removes it."""

    short: Text | None = None
    detailed: Text | None = None
    markdown: Text | None = None
    html: Text | None = None


class Duration(Details):
    """How long the course takes: the minutes of all its lessons, and days until learners have usually done them."""

    total_minutes: Minutes | None = None
    estimated_completion: Minutes | None = None


class Metadata(Details):
    """By what the course is found: a part that is left out stays, null removes it."""

    category: Name | None = None
    subcategory: Name | None = None
    tags: Tags | None = None
    level: Level | None = None
    language: Name | None = None
    duration: Maybe[Duration] = None


class Price(Details):
    """One price, whole: amounts are decimal texts of at most two decimals, as those of payments."""

    amount: Amount
    currency: Currency
    original_price: Maybe[Amount] = None
    discount_percentage: Maybe[Percent] = None

    @model_validator(mode="after")
    def _is_a_discount(self) -> Self:
        if self.original_price is not None and Decimal(self.original_price) < Decimal(self.amount):
            raise PydanticCustomError("price", "must not be above its original_price")
        return self


class OneTimePlan(Details):
    """The course is paid at once."""

    type: Literal["one_time"]
    price: Amount

    @property
    def amount(self) -> Decimal:
        return Decimal(self.price)


class InstalmentPlan(Details):
    """The course is paid in equal parts."""

    type: Literal["installments"]
    installments: Annotated[int, Field(ge=2, le=120), BeforeValidator(whole)]
    price_per_installment: Amount

    @property
    def amount(self) -> Decimal:
        return Decimal(self.price_per_installment)


PaymentPlan = Annotated[OneTimePlan | InstalmentPlan, Field(discriminator="type")]


class Pricing(Details):
    """What the course costs: what is left out stays, null removes it; `price` and `payment_plans` are whole."""

    type: Maybe[Literal["free", "paid", "subscription", "premium"]] = None
    price: Price | None = None
    payment_plans: Annotated[list[PaymentPlan], Field(max_length=50)] | None = None

    @model_validator(mode="after")
    def _costs_what_its_type_says(self) -> Self:
        prices = [] if self.price is None else [Decimal(self.price.amount)]
        plans = [each.amount for each in self.payment_plans or ()]
        if self.type == "free" and (any(prices) or plans):
            raise PydanticCustomError("price", "must be 0, without payment plans, for a course that is free")
        if self.type == "paid" and not all((*prices, *plans)):
            raise PydanticCustomError("price", "must be above 0 for a course that is paid")
        return self


class Sizes(Details):
    """The picture in other sizes, by the name of the size; further names are carried as they are."""

    small: Maybe[Url] = None
    medium: Maybe[Url] = None
    large: Maybe[Url] = None


class Thumbnail(Details):
    """The course's picture, whole; `sizes` are its addresses in other sizes."""

    url: Url
    alt: Maybe[Sentence] = None
    sizes: Maybe[Sizes] = None


class PreviewVideo(Details):
    """A film about the course, whole; `duration` in seconds."""

    url: Url
    duration: Maybe[Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]] = None
    thumbnail: Maybe[Url] = None


class Media(Details):
    """Pictures and films: each part is whole; one that is left out stays, null removes it."""

    thumbnail: Thumbnail | None = None
    preview_video: PreviewVideo | None = None
    gallery: Annotated[list[Url], Field(max_length=200)] | None = None


class SkillCovered(Details):
    """One skill that learners take from the course; `hours` are spent on it."""

    skill: Name
    level: Maybe[Level] = None
    hours: Maybe[Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]] = None


class Learning(Details):
    """Aims and requirements: each part is whole; one that is left out stays, null removes it."""

    objectives: Sentences | None = None
    prerequisites: Sentences | None = None
    outcomes: Sentences | None = None
    skills_covered: Annotated[list[SkillCovered], Field(max_length=200)] | None = None


class Instructor(Details):
    """How the course presents its instructor; who that is says `instructor_id`."""

    bio: Text | None = None
    credentials: Sentences | None = None


class Seo(Details):
    """What search engines are told: each part is whole; one that is left out stays, null removes it."""

    meta_title: Sentence | None = None
    meta_description: Sentence | None = None
    keywords: Tags | None = None
    og_image: Url | None = None
    structured_data: Details | None = None


Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]


class Point(Details):
    """A place, as GeoJSON has it: longitude, then latitude."""

    type: Literal["Point"]
    coordinates: tuple[Longitude, Latitude]

    @model_validator(mode="before")
    @classmethod
    def _two_numbers(cls, value: Any) -> Any:
        """JSON has no tuples."""
        given = value.get("coordinates") if isinstance(value, dict) else None
        return {**value, "coordinates": tuple(given)} if isinstance(given, list) else value


class Question(Details):
    """One question of a lesson's quiz; `correct_answer` is the place of the right option, or several of them."""

    id: Id = Field(alias="_id")
    type: Name
    question: Text
    options: Maybe[list[Text]] = None
    correct_answer: Any = None
    explanation: Maybe[Text] = None


class Quiz(Details):
    """The quiz of a lesson."""

    questions: Annotated[list[Question], Field(max_length=1_000)]
    passing_score: Maybe[Percent] = None
    time_limit_minutes: Maybe[Number] = None


class Lesson(Details):
    """One lesson of a module; what is not named here is carried as it is."""

    id: Id = Field(alias="_id")
    title: Title
    type: Literal["video", "text", "article", "quiz", "assignment", "interactive"]
    order: Count
    duration_minutes: Maybe[Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]] = None
    is_free: Maybe[bool] = None
    topic: Maybe[Name] = None
    skills: Maybe[Tags] = None
    content: Maybe[Details] = None
    quiz: Maybe[Quiz] = None


class Module(Details):
    """One module of the curriculum, with its lessons in it."""

    id: Id = Field(alias="_id")
    title: Title
    description: Maybe[Text] = None
    order: Count
    type: Maybe[Name] = None
    duration_minutes: Maybe[Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]] = None
    is_free: Maybe[bool] = None
    lessons: Annotated[list[Lesson], Field(max_length=MAX_LESSONS)]
