#!/usr/bin/env bash
# Makes the images of `--stack containers` without pulling any: a Debian from this machine's mirror, and on it the mongod of
# the embedded wheel and the Apache Kafka of the dev stack. Needs root, debootstrap, Java 17, Maven and `make env`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [[ -z $(docker images --quiet sevenp-test-debian) ]]; then
  debootstrap --variant=minbase bookworm "$work/debian"
  tar --create --directory "$work/debian" --one-file-system . | docker import - sevenp-test-debian
  rm -rf "$work/debian"
fi

mkdir "$work/context"
cp "$here"/*.Dockerfile "$here/kafka-run" "$work/context"
"$here/../../.venv/bin/python" - "$work/context" <<'PYTHON'
import asyncio, shutil, sys
from pathlib import Path
from worker.devstack.servers.apache.artifacts import fetch_jars
from worker.devstack.servers.mongod import mongod_binary

context = Path(sys.argv[1])
shutil.copy(mongod_binary(), context / "mongod")
shutil.copytree(asyncio.run(fetch_jars()), context / "libs")
PYTHON

# The network of the host: the packages come from where the host's come from.
for name in mongodb kafka; do
  docker build --network host --file "$work/context/$name.Dockerfile" --tag "sevenp-test-$name" "$work/context"
done
echo "SEVENP_TEST_MONGODB_IMAGE=sevenp-test-mongodb SEVENP_TEST_KAFKA_IMAGE=sevenp-test-kafka"
