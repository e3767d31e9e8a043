import type { Config } from './config.ts'
import { embeddedKeys } from './registry/embedded.ts'

/** Keys that seal and service keys that open the door, the current ones first; embedded mode makes what is missing, once. */
export async function resolveKeys(config: Config) {
  const kept = config.mode === 'embedded' ? await embeddedKeys(config.DATA_DIR) : undefined
  const current = config.MULTI_DB_CRYPTO_KEY ?? Buffer.from(kept?.cryptoKey ?? '', 'base64url')
  const previous = config.MULTI_DB_CRYPTO_KEY_PREVIOUS ?? []
  const engines = {
    ...(config.REDIS_CRYPTO_KEY ? { redis: config.REDIS_CRYPTO_KEY } : {}),
    ...(config.MONGODB_CRYPTO_KEY ? { mongodb: config.MONGODB_CRYPTO_KEY } : {}),
  }
  const service = [config.BUN_API_KEY ?? kept?.apiKey, config.BUN_API_KEY_PREVIOUS].filter((key) => key !== undefined)
  return { sealing: { current, previous, engines }, service }
}
