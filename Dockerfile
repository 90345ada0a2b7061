# docker build -t itin . && docker run --rm -v "$PWD:/work" itin demo
# With a GPU: docker run --gpus all ...; the wheels of torch bring CUDA along.
FROM python:3.12-slim

# A compiler, with which --gru compiled builds the C++ recurrence when it is first used.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

COPY . /source
RUN pip install --no-cache-dir '/source[small,lexicons]' \
    && rm -rf /source \
    && useradd --create-home itin

# Where a cluster or a user mounts what is to be kept: features, weights, data sets, runs.
ENV XDG_CACHE_HOME=/work/.cache
WORKDIR /work
RUN chown itin:itin /work
USER itin
ENTRYPOINT ["itin"]
CMD ["--help"]
