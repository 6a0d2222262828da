# One image for all of Keysat's processes: `docker run keysat doctor`, `docker run keysat celery worker` ...
FROM python:3.11-slim AS build

WORKDIR /src
RUN python -m venv --without-pip /opt/keysat
# The dependencies first: they change less often than Keysat does. Wheels only, so no compiler is needed.
COPY requirements.lock ./
RUN python -m pip --python /opt/keysat/bin/python --disable-pip-version-check install \
    --no-cache-dir --only-binary=:all: --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE celeryconfig.py ./
COPY keysat keysat/
RUN python -m pip --python /opt/keysat/bin/python --disable-pip-version-check install --no-cache-dir --no-deps .


FROM python:3.11-slim

LABEL org.opencontainers.image.title="Keysat" \
      org.opencontainers.image.description="Every paid invoice becomes exactly one software license, whatever gets lost on the way." \
      org.opencontainers.image.licenses="MIT"

# /data holds the keys; a new volume takes over this folder's owner and mode.
# /etc/keysat is the working directory and empty. A celeryconfig.py mounted anywhere replaces the built-in one where
# KEYSAT_CELERY_CONFIG names it.
RUN groupadd --system --gid 10001 keysat \
    && useradd --system --uid 10001 --gid keysat --no-create-home --home-dir /data --shell /usr/sbin/nologin keysat \
    && install --directory --owner=keysat --group=keysat --mode=0700 /data /metrics \
    && install --directory /etc/keysat
COPY --from=build /opt/keysat /opt/keysat

ENV PATH=/opt/keysat/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    KEYSAT_DATA_DIR=/data \
    KEYSAT_LOG_FORMAT=json

WORKDIR /etc/keysat
VOLUME /data
# By number, so that an orchestrator can tell that it is not root. Health checks are each process's own: see compose.
USER 10001:10001
ENTRYPOINT ["keysat"]
CMD ["--help"]
