import type { Reply } from '../wire/batch.ts'
import { notRedis } from '../errors.ts'
import type { FieldValue, ScoredMember } from './key-values.ts'
import { cut, type CutMark, textIn } from '../replies.ts'
import type { StreamEntry } from '../types/stream-entries.ts'
import { type Encoding, fromBytes, type RedisValue } from '../values.ts'

/** A member of a list or set that is only its beginning, or nothing where it is too large to be read. */
export interface CutMember extends CutMark {
  readonly value: RedisValue | null
}

/** A member as `PUT key` takes it; where it is no more than its beginning, or nothing, in a form that it refuses. */
export type PageItem =
  | RedisValue
  | CutMember
  | ((FieldValue | ScoredMember) & CutMark)
  | StreamEntry
  | ({ readonly field: null; readonly value: null } & CutMark)
  | ({ readonly member: null; readonly score: null } & CutMark)

interface Shown {
  readonly encoding: Encoding
  readonly maxValueBytes: number
}

/** How one member is answered, of the parts that a reply has for it. */
export interface Form {
  readonly size: number
  read(group: Group, request: Shown): PageItem
  /** Stands for one that is too large. */
  readonly leftOut: PageItem
}

/** The parts of one member. */
export type Group = readonly Buffer[]

/** Elements of a list, members of a set. */
export const plain: Form = {
  size: 1,
  read([bytes = Buffer.alloc(0)], { maxValueBytes, encoding }) {
    const [value, mark] = cut(bytes, maxValueBytes, encoding)
    return mark.truncated ? { value, ...mark } : value
  },
  leftOut: { value: null, truncated: true },
}

/** Members with their scores. */
export const scored: Form = {
  size: 2,
  read([bytes = Buffer.alloc(0), score], { maxValueBytes, encoding }) {
    const [member, mark] = cut(bytes, maxValueBytes, encoding)
    return { member, score: textIn(score), ...mark }
  },
  leftOut: { member: null, score: null, truncated: true },
}

/** Fields with their values. */
export const fields: Form = {
  size: 2,
  read([name = Buffer.alloc(0), bytes = Buffer.alloc(0)], { maxValueBytes, encoding }) {
    // A name is not cut: another field may begin with the same.
    if (name.length > maxValueBytes) return fields.leftOut
    const [value, mark] = cut(bytes, maxValueBytes, encoding)
    return { field: fromBytes(name, encoding), value, ...mark }
  },
  leftOut: { field: null, value: null, truncated: true },
}

/** The items of a reply, as many together as the form has parts. */
export function groupsOf(items: readonly Reply[], { size }: Form): readonly Group[] {
  if (items.length % size !== 0 || !areBytes(items)) throw notRedis()
  return Array.from({ length: items.length / size }, (_, index) => items.slice(index * size, (index + 1) * size))
}

function areBytes(items: readonly Reply[]): items is readonly Buffer[] {
  return items.every((item) => item instanceof Buffer)
}
