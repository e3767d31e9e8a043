import { ApiError, invalid } from '../errors.ts'

/** The strong ETag of a version. */
export const etagOf = (version: number) => `"${version}"`

/**
 * The version `If-Match` asks for (RFC 9110, 13.1.1): `undefined` without the header and for `*`; a weak tag never matches.
 * Throws `VALIDATION_FAILED` for text that is no tag, `PRECONDITION_FAILED` for one that can't be ours.
 */
export function readIfMatch(header: string | undefined): number | undefined {
  if (header === undefined || header.trim() === '*') return undefined
  const tags = header.split(',').map((tag) => tag.trim())
  if (!tags.every((tag) => /^(W\/)?"[\x21\x23-\x7e]*"$/.test(tag)))
    throw invalid('If-Match', 'must be an ETag in quotes, such as "3"')
  const versions = tags.flatMap((tag) => (/^"(\d{1,15})"$/.exec(tag)?.[1] ? [Number(tag.slice(1, -1))] : []))
  if (versions.length > 1) throw invalid('If-Match', 'must name one ETag')
  if (versions[0] === undefined)
    throw new ApiError('PRECONDITION_FAILED', 'The ETag is not one of this database. Read it again.')
  return versions[0]
}
