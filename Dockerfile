# Two stages: build with the toolchain, run with nothing but the program and CA certificates. What the first copies is
# all that the program is built from; a test holds it against what the compiler reads.
FROM rust:1-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src src
COPY migrations migrations
COPY assets assets
COPY templates templates
RUN cargo build --locked --profile dist --bin postrider

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin postrider \
    && install -d -o postrider -g postrider -m 0700 /data
COPY --from=build /build/target/dist/postrider /usr/local/bin/postrider
USER postrider
WORKDIR /data
VOLUME /data
EXPOSE 8080
ENV POSTRIDER_LISTEN=0.0.0.0:8080 \
    POSTRIDER_DATABASE=sqlite:///data/postrider.db
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["postrider", "status", "--ready"]
ENTRYPOINT ["postrider"]
CMD ["serve"]
