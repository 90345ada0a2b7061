# docker build -t itin . && docker run --rm --user "$(id -u)" -v "$PWD:/work" itin demo
# With a GPU: docker run --gpus all ...; the wheels of torch bring CUDA along.
FROM python:3.12-slim

# A compiler: --gru compiled builds the C++ recurrence when it is first used.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

COPY . /source
RUN pip install --no-cache-dir '/source[small,lexicons]' \
    && rm -rf /source \
    && mkdir /work \
    && chown 1000:1000 /work

# Mount here what is to be kept: features and weights (.cache), data sets, runs.
ENV HOME=/work
WORKDIR /work
USER 1000
ENTRYPOINT ["itin"]
CMD ["--help"]
