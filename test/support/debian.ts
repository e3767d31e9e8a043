let updated: Promise<boolean> | undefined
let queue: Promise<unknown> = Promise.resolve()

/** Installs a package with apt-get, one at a time; false where this is no Debian, we are not root, or it did not work. */
export function installDebianPackage(name: string): Promise<boolean> {
  const installed = queue.then(async () => {
    if (process.getuid?.() !== 0 || Bun.which('apt-get') === null) return false
    console.error(`installing ${name} with apt-get`)
    updated ??= aptGet('update')
    await updated
    return aptGet('install', '--yes', '--no-install-recommends', name)
  })
  queue = installed
  return installed
}

/** The path of a command, after installing its Debian package where that is possible; null where there is none. */
export async function findCommand(command: string, debianPackage: string): Promise<string | null> {
  const found = Bun.which(command)
  if (found !== null || !(await installDebianPackage(debianPackage))) return found
  return Bun.which(command)
}

async function aptGet(...args: string[]): Promise<boolean> {
  const child = Bun.spawn(['apt-get', '-qq', '-o', 'DPkg::Lock::Timeout=120', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'inherit',
  })
  return (await child.exited) === 0
}
