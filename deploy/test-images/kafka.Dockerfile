# Used as the official image is: KAFKA_* variables are the broker's properties.
FROM sevenp-test-debian
RUN apt-get update \
 && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/*
COPY libs /opt/kafka/libs
COPY kafka-run /etc/kafka/docker/run
RUN useradd --system kafka \
 && mkdir -p /opt/kafka/config /mnt/shared/config /var/lib/kafka/data \
 && chown kafka /opt/kafka/config /var/lib/kafka/data
USER kafka
VOLUME /var/lib/kafka/data
ENV CLUSTER_ID=5L6g3nShT-eMCtK--X86sw KAFKA_LOG_DIRS=/var/lib/kafka/data
CMD ["/etc/kafka/docker/run"]
