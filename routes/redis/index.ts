import { createRouter } from '#src/http/router.ts'
import { serverInfo } from './info.ts'
import { keys } from './keys.ts'
import { strings } from './strings.ts'

export const redis = createRouter().route('/', keys).route('/', strings).route('/', serverInfo)
