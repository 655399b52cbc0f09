# lambdad as one container. It isolates functions by itself, so it needs the right to do so:
#   docker run --privileged --cgroupns=host -p 127.0.0.1:3001:3001 lambdad
# BASE names any Debian-like image with Python 3.11 or later.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY runtime runtime
COPY sandbox sandbox
COPY bootstrap bootstrap
RUN python3 -m venv /opt/lambdad \
    && /opt/lambdad/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM ${BASE}
COPY --from=build /opt/lambdad /opt/lambdad
ENV PATH=/opt/lambdad/bin:$PATH
VOLUME /var/lib/lambdad
EXPOSE 3001
# Inside a container loopback is nobody's, so who calls has to sign. The key is made at the first
# start, in the volume: /var/lib/lambdad/credentials.
ENTRYPOINT ["lambdad"]
CMD ["serve", "--host", "0.0.0.0", "--auth", "sigv4"]
