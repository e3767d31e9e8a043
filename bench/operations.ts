import { type Ids, mongoCollection, redisKey } from './stage.ts'
import type { LoadRequest } from './wrk.ts'

/** One line of the table. */
export interface Operation {
  /** For `--only`. */
  readonly name: string
  readonly title: string
  readonly request: LoadRequest
  /** What every answer holds. */
  readonly contains: string
  /** Of the seed's Appendix C: the 99th percentile stays below the one, the throughput above the other. */
  readonly target?: { readonly p99Ms: number; readonly requestsPerSecond: number }
  /** To be compared with a bare Hono's throughput, and the shares of it that it must and should reach. */
  readonly share?: { readonly floor?: number; readonly goal?: number }
}

const platform = '/api/platform'

/** What `operationsOf` names where every store is there. */
export function operationNames(): readonly string[] {
  return operationsOf({ redis: '', mongodb: '', postgres: '' }).map(({ name }) => name)
}

/** Every operation whose store is there, in the order of Appendix C, then what it does not name. */
export function operationsOf({ redis, mongodb, postgres }: Ids): readonly Operation[] {
  return [
    {
      name: 'list',
      title: 'List databases',
      request: { method: 'GET', path: `${platform}/databases?limit=10` },
      contains: '"name":"bench-postgres"',
      target: { p99Ms: 50, requestsPerSecond: 1000 },
      share: { floor: 0.4, goal: 0.6 },
    },
    {
      name: 'get',
      title: 'Get database',
      request: { method: 'GET', path: `${platform}/databases/${postgres}` },
      contains: postgres,
      target: { p99Ms: 30, requestsPerSecond: 2000 },
      share: { floor: 0.4, goal: 0.6 },
    },
    ...(redis === undefined ? [] : redisOperations(`${platform}/redis/${redis}`)),
    ...(mongodb === undefined ? [] : mongoOperations(`${platform}/mongodb/${mongodb}`)),
    ...connectionTest('redis', 'Redis', redis),
    ...connectionTest('postgres', 'PostgreSQL', postgres),
    ...connectionTest('mongodb', 'MongoDB', mongodb),
    {
      name: 'health',
      title: 'Health',
      request: { method: 'GET', path: '/health' },
      contains: '{',
      share: {},
    },
  ]
}

function redisOperations(base: string): readonly Operation[] {
  return [
    {
      name: 'redis-get',
      title: 'Redis GET',
      request: { method: 'GET', path: `${base}/get?key=${redisKey}` },
      contains: '"value":"hello"',
      target: { p99Ms: 10, requestsPerSecond: 5000 },
      share: { floor: 0.3, goal: 0.5 },
    },
    {
      name: 'redis-set',
      title: 'Redis SET',
      request: { method: 'POST', path: `${base}/set`, body: { key: redisKey, value: 'hello' } },
      contains: '"written":true',
      target: { p99Ms: 15, requestsPerSecond: 3000 },
      share: {},
    },
  ]
}

function mongoOperations(base: string): readonly Operation[] {
  const pipeline = [{ $match: { number: { $gte: 500 } } }, { $group: { _id: '$group', count: { $sum: 1 } } }]
  return [
    {
      name: 'mongodb-find',
      title: 'MongoDB find (simple)',
      request: { method: 'GET', path: `${base}/documents?collection=${mongoCollection}&limit=10` },
      contains: '"text":"item 0"',
      target: { p99Ms: 50, requestsPerSecond: 1000 },
    },
    {
      name: 'mongodb-aggregate',
      title: 'MongoDB aggregate',
      request: { method: 'POST', path: `${base}/aggregate`, body: { collection: mongoCollection, pipeline } },
      contains: '"count":50',
      target: { p99Ms: 200, requestsPerSecond: 200 },
    },
  ]
}

function connectionTest(kind: string, title: string, id: string | undefined): readonly Operation[] {
  if (id === undefined) return []
  return [
    {
      name: `test-${kind}`,
      title: `Connection test (${title})`,
      request: { method: 'POST', path: `${platform}/databases/${id}/test` },
      contains: '"ok":true',
      target: { p99Ms: 500, requestsPerSecond: 100 },
    },
  ]
}
