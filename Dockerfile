# One image for every process; its command selects one: `linkstatus receive`, `linkstatus work`, …
FROM python:3.12-slim

WORKDIR /app
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY schemas schemas
COPY connectors connectors
COPY streams streams
# Without the extra `embedded`: the broker of `linkstatus up` would add 104 MB.
RUN PIP_CONSTRAINT=constraints.txt pip install --no-cache-dir '.[server,postgresql,tracing]' \
    && useradd --uid 10001 --no-create-home linkstatus \
    && install -d -o linkstatus /data

USER 10001
ENV LINKSTATUS_DATA_DIR=/data \
    LINKSTATUS_HTTP__HOST=0.0.0.0 \
    LINKSTATUS_HTTP__PORT=8080 \
    PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["linkstatus"]
CMD ["--help"]
