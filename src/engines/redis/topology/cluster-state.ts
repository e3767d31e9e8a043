import { ApiError } from '../../../errors.ts'
import type { HostPort } from '../../srv.ts'
import { type Primary, slotCount, type SlotMap } from './cluster-slots.ts'
import { placeKey } from './places.ts'

/** What is known of a cluster, shared by all links to it. */
export interface ClusterState {
  /** In the order of their ids. Throws `DB_UNSUPPORTED` where the user may not ask for them. */
  primaries(): readonly Primary[]
  /** Of all primaries that are known. */
  places(): readonly HostPort[]
  /** For a command without a key: one of the places given, else any. */
  anyPlace(preferred: readonly HostPort[]): HostPort
  /** Who has a slot; where that is not known, anybody, who says who has it. */
  ownerOf(slot: number): HostPort
  /** The map as a node told it. */
  adopt(told: SlotMap | undefined, place: HostPort): void
  /** What a node said of one slot, which is newer than the map. */
  learn(slot: number, place: HostPort): void
  /**
   * Asks for the map again unless it is younger, once for all callers; a map that is wrong is asked for after that age by itself. Where
   * nobody answers, the cluster is `lost`.
   */
  refresh(reason: 'wrong' | 'old'): Promise<void>
  readonly lost: boolean
  /** Whether the user may ask for the map; else slots are learned one by one. */
  readonly isKnown: boolean
}

/** `undefined` as a map says that the user may not ask for it. */
export type AskMap = (place: HostPort) => Promise<SlotMap | undefined>

const maxAgeMs = { wrong: 500, old: 5_000 }

export function createClusterState(seeds: readonly HostPort[], answered: HostPort, ask: AskMap): ClusterState {
  let map: SlotMap | undefined
  let owners: (HostPort | undefined)[] = []
  let fallback = answered
  let lost = false
  let refreshedAt = performance.now()
  let refreshing: Promise<void> | undefined
  let later: ReturnType<typeof setTimeout> | undefined
  return {
    primaries() {
      if (map !== undefined) return map.primaries
      throw new ApiError(
        'DB_UNSUPPORTED',
        "On a cluster this needs all primaries, and the user's ACL does not allow CLUSTER SLOTS.",
        { details: { code: 'NOPERM' } },
      )
    },
    places: () => map?.primaries.map(({ place }) => place) ?? [fallback],
    anyPlace: (preferred) => preferred[0] ?? map?.primaries[0]?.place ?? fallback,
    ownerOf: (slot) => owners[slot] ?? map?.primaries[0]?.place ?? fallback,
    learn(slot, place) {
      if (slot >= 0 && slot < slotCount) owners[slot] = place
    },
    adopt,
    refresh(reason) {
      const left = refreshedAt + maxAgeMs[reason] - performance.now()
      if (left <= 0) return refresh()
      if (reason === 'wrong') later ??= setTimeout(refresh, left).unref()
      return Promise.resolve()
    },
    get isKnown() {
      return map !== undefined
    },
    get lost() {
      return lost
    },
  }

  function refresh(): Promise<void> {
    clearTimeout(later)
    later = undefined
    refreshing ??= find().finally(() => {
      refreshing = undefined
      refreshedAt = performance.now()
    })
    return refreshing
  }

  async function find(): Promise<void> {
    const places = [fallback, ...(map?.primaries.map(({ place }) => place) ?? []), ...seeds]
    const distinct = new Map(places.map((place) => [placeKey(place), place]))
    let outsider: readonly [SlotMap, HostPort] | undefined
    for (const place of distinct.values()) {
      try {
        const told = await ask(place)
        if (told === undefined || told.primaries.length > 0) return adopt(told, place)
        // One that was taken out of the cluster knows of no slots.
        outsider ??= [told, place]
      } catch {
        // The next one may know.
      }
    }
    if (outsider) adopt(...outsider)
    else lost = true
  }

  function adopt(told: SlotMap | undefined, place: HostPort): void {
    map = told
    if (map !== undefined) owners = map.owners
    fallback = place
  }
}
