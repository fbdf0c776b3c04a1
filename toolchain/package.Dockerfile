# The packaged gild in a container: `make dist`, then `docker build --file toolchain/package.Dockerfile target/dist`.
# docs/build-hosts.md says how to use it.
FROM debian:trixie-slim
# Docker (with BuildKit) and podman set it: amd64 or arm64.
ARG TARGETARCH
COPY gild_*_${TARGETARCH}.deb /tmp/
RUN apt-get update \
    && apt-get install --yes --no-install-recommends /tmp/gild_*.deb ca-certificates binfmt-support qemu-user-static \
    && rm -rf /var/lib/apt/lists/* /tmp/gild_*.deb
# Where the caller's folder is mounted.
WORKDIR /work
ENTRYPOINT ["/usr/bin/gild"]
