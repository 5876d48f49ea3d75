# The image with its build: docker build -t skep .
# It needs base images. Where none can be had, `make image` makes the same from a binary that is built outside.
ARG RUST=1.95
FROM rust:${RUST}-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates openssh-client && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# glibc, linked statically. With the target said out loud, build scripts and macros are built as ever. For arm64 it is
# another target (aarch64-unknown-linux-gnu), which nobody has tried.
ARG TARGET=x86_64-unknown-linux-gnu
RUN RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target "$TARGET" \
    && packaging/root.sh "target/$TARGET/release/skep" /root-of-image

# From here on as in packaging/Dockerfile.
FROM scratch
COPY --from=build /root-of-image/ /
COPY --from=build --chown=65532:65532 /root-of-image/var/lib/skep /var/lib/skep
# One heap for all threads, and what is free goes back: a third less memory with many stacks.
ENV MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072
ENV PATH=/usr/bin SKEP_DATA=/var/lib/skep SKEP_LISTEN=0.0.0.0:7717
USER 65532:65532
WORKDIR /var/lib/skep
VOLUME /var/lib/skep
EXPOSE 7717
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 CMD ["/usr/bin/skep", "health"]
ENTRYPOINT ["/usr/bin/skep"]
CMD ["serve"]
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="skep" \
      org.opencontainers.image.description="Keeps a Docker Swarm in the state that was declared" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
