# Used as the official image is: the command is mongod's, its data are in a volume.
FROM sevenp-test-debian
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libcurl4 \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --system mongodb && mkdir -p /data/db && chown mongodb /data/db
COPY mongod /usr/local/bin/mongod
USER mongodb
VOLUME /data/db
CMD ["mongod"]
