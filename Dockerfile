# A machine that builds golden images and cards, for hosts that are not Debian: docs/build-hosts.md says how to use it.
FROM debian:trixie AS build
# rustup brings the Rust that rust-toolchain.toml names; `make install` the rest.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates make rustup
WORKDIR /src
COPY . .
RUN make install PREFIX=/opt/gild

FROM debian:trixie
COPY toolchain/container-packages toolchain/arm64-programs toolchain/container /opt/gild/lib/
RUN apt-get update \
    && apt-get install --yes --no-install-recommends $(sed 's/ .*//; /^#/d' /opt/gild/lib/container-packages) \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/gild /opt/gild
ENV PATH=/opt/gild/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Where the caller's folder is mounted.
WORKDIR /work
ENTRYPOINT ["/opt/gild/lib/container"]
