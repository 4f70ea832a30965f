"""The events of the contract as pydantic models, one file for each family."""
