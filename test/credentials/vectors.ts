import type { Place } from '#src/credentials/sealed.ts'

/** The raw keys of the two published vectors. */
export const one = new Uint8Array(32).fill(0x11)
export const two = new Uint8Array(32).fill(0x22)
/** Where the vectors' value lives, what it says, and the nonce it is sealed under. */
export const place: Place = {
  projectId: '11111111-1111-4111-8111-111111111111',
  databaseId: '22222222-2222-4222-8222-222222222222',
  field: 'connection_string',
}
export const plaintext = 'postgresql://u:p@h:5432/db'
export const nonce = Uint8Array.from({ length: 12 }, (_, index) => index)
/** Each raw key with the value it seals. */
export const vectors = [
  [one, 'enc:v1:7828f4c4:AAECAwQFBgcICQoL:UJwG5Tjxq1bhdXclY9XwvvBiZk3k2YeKhhwq-bH6YG20kSftpbbd-ndP'],
  [two, 'enc:v1:9bb695a6:AAECAwQFBgcICQoL:W8o-wMoFlCn1QeXJUTXPfZPV7XMLpaHEQ00uULl-UmIWZu4s-Bkr38qu'],
] as const
