# Dockerfile -- builds sidepool on Debian 12 and puts it on a base without a shell, as user 65532.
#
#   docker build -t sidepool .
#   docker build -t sidepool --build-arg RUNTIME=debian:12-slim .   # where distroless cannot be pulled, or for a shell
#
# What is in the image is decided by scripts/rootfs.
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

FROM debian:12 AS build
WORKDIR /sidepool
COPY scripts/install-deps scripts/install-deps
RUN scripts/install-deps build runtime
COPY . .
RUN scripts/build release sidepool && scripts/rootfs /rootfs

FROM ${RUNTIME}
COPY --from=build /rootfs/ /
USER 65532:65532
ENTRYPOINT ["/sidepool"]
