"""A job for each day, as a DAG of Airflow: the interval is the data interval, so `airflow dags backfill` fits, too.

Settings are in the environment of the workers, or of the pod where it is a KubernetesPodOperator.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

with DAG(
    dag_id="sevenp_rebuild_progress",
    # Airflow 3 gives a plain cron expression no interval: its begin would be its end.
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 11, 1),  # noqa: DTZ001 - Airflow's default zone is UTC
    catchup=False,
    max_active_runs=1,
) as dag:
    BashOperator(
        task_id="rebuild_progress",
        bash_command=(
            "exec sevenp-worker jobs run rebuild-progress --json "
            "--interval {{ data_interval_start | ts }}/{{ data_interval_end | ts }}"
        ),
        # Another process is at it, or has taken it over.
        skip_on_exit_code=[8, 10],
        # It goes on at its checkpoint.
        retries=10,
        retry_delay=timedelta(minutes=1),
    )
