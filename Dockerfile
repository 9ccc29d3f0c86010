# The commands on the CPU, without torch. The wheel is built first, and carries the models:
#     ./run_all.sh --wheel && docker build -t tadlib .
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/pictures" tadlib downscale photo.png small.png
FROM python:3.13-slim
COPY constraints.txt dist/tadlib-*.whl /tmp/wheel/
RUN pip install --no-cache-dir -c /tmp/wheel/constraints.txt /tmp/wheel/tadlib-*.whl && rm -r /tmp/wheel
WORKDIR /pictures
ENTRYPOINT ["tadlib"]
CMD ["--help"]
