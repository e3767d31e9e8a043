import { rm } from 'node:fs/promises'

/**
 * Outlives the process that started it: when its stdin ends, for whatever reason, it stops the servers named there
 * and removes the folder. Lines: `+ <pid> <signal>` and `- <pid>`.
 */
const [folder] = process.argv.slice(2)
const graceMs = 8_000
const servers = new Map<number, NodeJS.Signals>()

for await (const line of console) {
  const [sign, pid, signal] = line.split(' ')
  if (sign === '+') servers.set(Number(pid), signal as NodeJS.Signals)
  else servers.delete(Number(pid))
}

// A test may have frozen the server with SIGSTOP: it answers no signal but SIGKILL until it continues.
for (const [pid, signal] of servers) {
  send(pid, signal)
  send(pid, 'SIGCONT')
}
const deadline = Date.now() + graceMs
while (Date.now() < deadline && [...servers.keys()].some((pid) => send(pid, 0))) await Bun.sleep(10)
for (const pid of servers.keys()) send(pid, 'SIGKILL')
if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 5 })

function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}
