import { createExchanges } from '#src/engines/redis/wire/exchange.ts'
import { createStrings } from '#src/engines/redis/types/strings.ts'
import { createReadRetries } from '#src/engines/read-retries.ts'
import { refusingWrites } from '#src/engines/redis/run/read-only.ts'
import { encode } from '#src/engines/redis/wire/batch.ts'
import { ReplyReader } from '#src/engines/redis/wire/reply-reader.ts'
import { lend } from '#src/registry/live-session.ts'
const bytes = Buffer.from(':123456\r\n$5\r\nhello\r\n'.repeat(16))
let waiting: any[] = []
let reader: any
const wire = {
  send(commands: any, receiver: any) {
    encode(commands)
    waiting.push({ receiver, replies: [] })
  },
}
let at = 0
const take = (reply: any) => {
  const w = waiting[at]
  w.replies.push(reply)
  if (w.replies.length < 2) return
  at++
  w.receiver.answer(w.replies, undefined)
}
reader = new ReplyReader(take)
const flush = () => {
  while (at < waiting.length) reader.read(Buffer.from(bytes))
  waiting = []
  at = 0
}
const owner = {
  commandTimeoutMs: 5000,
  answered() {},
  late: () => new Error('late') as any,
  failed: (_: any, e: any) => e,
}
const commands = createExchanges(wire as any, owner)
const guarded = refusingWrites(commands, { config: {} } as any, (async () => undefined) as any)
const strings = createStrings({ database: 0, shared: guarded, alone: null as any }, { maxValueBytes: 1048576 } as any)
const session: any = {
  strings,
  in: (db: any, call: any, work: any) => work(session),
  get closed() {
    return false
  },
  [Symbol.asyncDispose]: async () => {},
}
const lendIt = () => lend(session, () => {})
const read = createReadRetries({ open: lendIt as any })
const call: any = { deadline: performance.now() + 1e9, readOnly: true }
const works: Record<string, () => any> = {
  encode: () =>
    encode([
      ['pttl', 'bench:key'],
      ['getrange', 'bench:key', '0', '1048576'],
    ]),
  wire: () =>
    new Promise((r) =>
      wire.send(
        [
          ['pttl', 'bench:key'],
          ['getrange', 'bench:key', '0', '1048576'],
        ],
        { answer: r },
      ),
    ),
  send: () => commands.send(call, 'reads', ['pttl', 'bench:key'], ['getrange', 'bench:key', '0', '1048576']),
  guarded: () => guarded.send(call, 'reads', ['pttl', 'bench:key'], ['getrange', 'bench:key', '0', '1048576']),
  strings: () => strings.get('bench:key', 'utf8', call),
  lend: () => lendIt()[Symbol.dispose](),
  read: () => read(null as any, 'id', call, (s: any) => s.strings.get('bench:key', 'utf8', call)),
  readin: () =>
    read(null as any, 'id', call, (s: any) =>
      s.in(undefined, call, (st: any) => st.strings.get('bench:key', 'utf8', call)),
    ),
}
for (const name of process.argv[2] ? [process.argv[2]] : Object.keys(works)) {
  const work = works[name]!
  const round = async (n: number) => {
    for (let i = 0; i < n; i += 16) {
      const all = new Array(16)
      for (let k = 0; k < 16; k++) all[k] = work()
      flush()
      for (const a of all) await a
    }
  }
  await round(200000)
  Bun.gc(true)
  const main = () =>
    Number(require('fs').readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0])
  const c0 = process.cpuUsage(),
    m = main()
  const n = 400000
  await round(n)
  const c = process.cpuUsage(c0)
  console.log(
    name.padEnd(10),
    'main',
    ((main() - m) / n).toFixed(0),
    'ns  all',
    (((c.user + c.system) * 1000) / n).toFixed(0),
  )
}
