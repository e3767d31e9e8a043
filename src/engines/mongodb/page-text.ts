import { ApiError } from '../../errors.ts'
import { type EjsonMode, ejsonText } from './values.ts'

/** Documents as Extended JSON, one text each, until they are longer than an answer may be. */
export interface PageText {
  readonly documents: readonly string[]
  /** Takes BSON; throws `RESULT_TOO_LARGE` above the limit. */
  add(document: Uint8Array): void
}

/** `maxBytes` is of the text, in UTF-8. */
export function pageText(mode: EjsonMode, maxBytes: number): PageText {
  const documents: string[] = []
  let size = 0
  return {
    documents,
    add(document) {
      // Before it is written: the text is never much shorter than the bytes, but may be several times as long.
      if (size + document.length / 2 > maxBytes) throw tooLarge(maxBytes)
      const text = ejsonText(document, mode)
      size += Buffer.byteLength(text)
      if (size > maxBytes) throw tooLarge(maxBytes)
      documents.push(text)
    },
  }
}

function tooLarge(maxBytes: number): ApiError {
  return new ApiError('RESULT_TOO_LARGE', `The page is larger than ${maxBytes} bytes. Ask for fewer documents.`, {
    details: { max_bytes: maxBytes },
  })
}
