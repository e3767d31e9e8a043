# The build: dependencies from the lockfile, then one bundle without node_modules.
FROM oven/bun:1.4.5-slim AS build
WORKDIR /app
COPY package.json bun.lock ./
RUN bun install --frozen-lockfile --production --ignore-scripts
COPY . .
RUN bun scripts/build.ts

FROM oven/bun:1.4.5-slim
WORKDIR /app
# Of the embedded registry; a volume belongs here when DATABASE_URL is not set. No VOLUME line: Railway refuses it.
RUN mkdir -m 700 data && chown bun:bun data
COPY --from=build /app/dist dist
ENV NODE_ENV=production HOST=:: PORT=3000 DATA_DIR=data
USER bun
EXPOSE 3000
# The slim image has no curl. A proxy of the environment must not be asked for loopback.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["bun", "-e", "const { ok } = await fetch('http://localhost:' + process.env.PORT + '/health', { proxy: false }); process.exit(ok ? 0 : 1)"]
# The base image's entrypoint is a shell script; without it Bun is the first process from the start, and gets the signals.
ENTRYPOINT []
CMD ["bun", "dist/main.js"]
