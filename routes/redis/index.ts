import { createRouter } from '#src/http/router.ts'
import { clients } from './clients.ts'
import { commands } from './commands.ts'
import { config } from './config.ts'
import { bulk } from './bulk.ts'
import { databases } from './databases.ts'
import { hashes } from './hashes.ts'
import { serverInfo } from './info.ts'
import { keyTree } from './key-tree.ts'
import { json } from './json.ts'
import { key } from './key.ts'
import { keys } from './keys.ts'
import { lifecycle } from './lifecycle.ts'
import { lists } from './lists.ts'
import { memory } from './memory.ts'
import { mget } from './mget.ts'
import { stringEdits } from './string-edits.ts'
import { strings } from './strings.ts'
import { monitor } from './monitor.ts'
import { moving } from './moving.ts'
import { pubsub } from './pubsub.ts'
import { streamTail } from './stream-tail.ts'
import { latency } from './latency.ts'
import { slowlog } from './slowlog.ts'
import { sets } from './sets.ts'
import { setEdits } from './set-edits.ts'
import { zsets } from './zsets.ts'
import { zsetEdits } from './zset-edits.ts'
import { streams } from './streams.ts'
import { streamEdits } from './stream-edits.ts'
import { streamGroups } from './stream-groups.ts'
import { streamConsumers } from './stream-consumers.ts'
import { streamDeliveries } from './stream-deliveries.ts'

export const redis = createRouter()
  .route('/', keys)
  .route('/', keyTree)
  .route('/', databases)
  .route('/', bulk)
  .route('/', memory)
  .route('/', strings)
  .route('/', hashes)
  .route('/', lists)
  .route('/', stringEdits)
  .route('/', mget)
  .route('/', key)
  .route('/', lifecycle)
  .route('/', json)
  .route('/', serverInfo)
  .route('/', commands)
  .route('/', slowlog)
  .route('/', clients)
  .route('/', config)
  .route('/', latency)
  .route('/', pubsub)
  .route('/', streamTail)
  .route('/', monitor)
  .route('/', moving)
  .route('/', sets)
  .route('/', setEdits)
  .route('/', zsets)
  .route('/', zsetEdits)
  .route('/', streams)
  .route('/', streamEdits)
  .route('/', streamGroups)
  .route('/', streamConsumers)
  .route('/', streamDeliveries)
