import { dns } from 'bun'

// Runs inside the server process, before its entry: a generated host name is never asked of a resolver. `node:dns` looks up here.
Object.assign(dns, {
  lookup: async (host: string) => {
    if (host !== 'localhost') throw Object.assign(new Error('no name but localhost exists'), { code: 'ENOTFOUND' })
    return [{ address: '127.0.0.1', family: 4, ttl: 0 }]
  },
})
