/** One instruction: its flags (`--from=build`), and the rest as it stands. */
export interface Instruction {
  readonly name: string
  readonly flags: Readonly<Record<string, string>>
  readonly rest: string
}

/** A build stage: its base image, and what follows `FROM`. */
export interface Stage {
  readonly base: string
  readonly alias: string | undefined
  readonly instructions: readonly Instruction[]
}

/** Reads a Dockerfile: comments and continued lines as Docker does, without `ARG`, heredocs and other syntax that ours has no need of. */
export function parseDockerfile(text: string): readonly Stage[] {
  const stages: { base: string; alias: string | undefined; instructions: Instruction[] }[] = []
  const lines = text
    .split('\n')
    .filter((line) => !/^\s*#/.test(line))
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
  for (const line of lines) {
    const [, name = '', given = ''] = /^(\w+)\s+(.*)$/.exec(line.trim()) ?? []
    if (name === '') continue
    if (name === 'FROM') {
      const [, base = '', alias] = /^(\S+)(?:\s+AS\s+(\S+))?$/.exec(given) ?? []
      stages.push({ base, alias, instructions: [] })
      continue
    }
    const flags: Record<string, string> = {}
    let rest = given
    for (let flag = flagAt(rest); flag !== null; flag = flagAt(rest)) {
      const [whole, key = '', value = ''] = flag
      flags[key] = value
      rest = rest.slice(whole.length)
    }
    stages.at(-1)?.instructions.push({ name, flags, rest })
  }
  return stages
}

function flagAt(rest: string): RegExpExecArray | null {
  return /^--([\w-]+)=(\S+)\s+/.exec(rest)
}

/** Whether a file of the context is sent to the build: the last pattern of `.dockerignore` that names it, or a folder above it, decides. */
export function contextFilter(dockerignore: string): (path: string) => boolean {
  const rules = dockerignore
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const allowed = line.startsWith('!')
      return { allowed, glob: new Bun.Glob(line.slice(allowed ? 1 : 0).replaceAll(/^\/|\/$/g, '')) }
    })
  return (path) => {
    const names = path.split('/')
    const paths = names.map((_, index) => names.slice(0, index + 1).join('/'))
    return rules.findLast(({ glob }) => paths.some((one) => glob.match(one)))?.allowed ?? true
  }
}
