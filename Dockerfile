# The service: nas serve, for compose.yaml or any orchestrator.
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 nas && mkdir /srv/nas && chown nas /srv/nas
WORKDIR /opt/nas
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY kernels kernels
COPY search_space search_space
COPY workers workers
COPY tracking tracking
COPY nas nas
RUN pip install --no-cache-dir -c constraints.txt '.[service]'

USER 1000
WORKDIR /srv/nas
VOLUME /srv/nas
EXPOSE 8642
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8642/healthz')"]
# A server that ends takes the container's searches with it; they go on when it is started again.
ENTRYPOINT ["nas"]
CMD ["serve", "folder=/srv/nas", "host=0.0.0.0", "access.by=tokens"]
