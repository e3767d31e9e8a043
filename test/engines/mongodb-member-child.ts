import { createNetwork } from '#src/engines/dial.ts'
import { parseEgressRule } from '#src/engines/egress.ts'
import { callWithin } from '#src/engines/engine.ts'
import { mongodb } from '#src/engines/mongodb/engine.ts'
import { parseTarget } from '#src/engines/target.ts'
import { limitsFor } from '#src/limits.ts'
import { loadConfig } from '#src/config.ts'

// Connects to the replica set of argv[2] under EGRESS_DENY of argv[3] and says how that ended. It has no handler for unhandled
// rejections, so one of them ends it with another exit code.
const [, , connectionString = '', denied = ''] = process.argv
const deny = parseEgressRule(denied)
if ('problem' in deny) throw new Error(deny.problem)
const description = parseTarget(mongodb, connectionString, {})
const policy = { allow: [], deny: [deny], loopbackAllowed: true, srvSuffixes: [], ownPort: undefined }
const network = createNetwork({ ...description, policy, connectTimeoutMs: 2_000 })
using call = callWithin(3_000)
const outcome = await mongodb
  .connect({ ...description, ...network }, limitsFor(loadConfig({}), 'mongodb'), call)
  .then(async (session) => {
    await session.close()
    return 'connected'
  })
  .catch((error: { code?: string }) => error.code)
// Longer than the driver takes to dial a member it was told of.
await Bun.sleep(700)
process.stdout.write(String(outcome))
