import { describe, expect, test } from 'bun:test'
import { describeRegistries, newestFirst, newName } from '#test/registry/registries.ts'

const path = '/api/platform/organizations'
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/)
const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)

describeRegistries('organizations', (app) => {
  const create = (body: unknown) => app().request('POST', path, { body })

  test('200 the first organization is there from the start', async () => {
    const { body } = await app().request('GET', path)
    expect(body.at(-1)).toEqual({
      id: uuid,
      name: 'Default',
      slug: 'default',
      billing_email: null,
      created_at: timestamp,
      updated_at: timestamp,
    })
  })

  test('201 with and without billingEmail', async () => {
    const slugs = [newName(), newName()]
    const answers = [
      await create({ name: 'Acme', slug: slugs[0], billingEmail: 'billing@acme.test' }),
      await create({ name: 'Ünïted 🏭', slug: slugs[1] }),
    ]
    expect(answers.map(({ status, body }) => [status, body])).toEqual([
      [
        201,
        {
          id: uuid,
          name: 'Acme',
          slug: slugs[0],
          billing_email: 'billing@acme.test',
          created_at: timestamp,
          updated_at: timestamp,
        },
      ],
      [
        201,
        {
          id: uuid,
          name: 'Ünïted 🏭',
          slug: slugs[1],
          billing_email: null,
          created_at: timestamp,
          updated_at: timestamp,
        },
      ],
    ])
  })

  test('409 a taken slug, also for many at once', async () => {
    const slug = newName()
    const answers = await Promise.all(Array.from({ length: 5 }, () => create({ name: 'Acme', slug })))
    expect(answers.map(({ status, body }) => `${status} ${body.error?.code}`).sort()).toEqual([
      '201 undefined',
      ...Array(4).fill('409 CONFLICT'),
    ])
  })

  test('200 pages over Link, every row once, newest first', async () => {
    const added: { id: string; slug: string; created_at: string }[] = []
    for (let count = 0; count < 5; count++) added.push((await create({ name: 'Paged', slug: newName() })).body)
    const seen: string[] = []
    let next: string | undefined = `${path}?limit=2`
    while (next !== undefined) {
      const { body, headers } = await app().request('GET', next)
      seen.push(...body.map(({ slug }: { slug: string }) => slug))
      next = /^<(.+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1]
    }
    expect(seen.slice(0, 5)).toEqual(newestFirst(added).map(({ slug }) => slug))
    expect([new Set(seen).size, seen.at(-1)]).toEqual([seen.length, 'default'])
  })

  describe('400 names the field, and saves nothing', () => {
    const notText = [1, true, null, [], {}]
    const table: readonly (readonly [string, ...unknown[]])[] = [
      ['name', '', 'n'.repeat(201), 'a\0', '\ud800', ...notText],
      ['slug', '', 'A', 'a b', 'a_b', 's'.repeat(65), "'; --", 'a\0', ...notText],
      ['billingEmail', 'nobody', 'a@b', '', `${'a'.repeat(320)}@b.test`, 'a\0@b.test', 1, {}],
    ]
    for (const [field, ...values] of table) {
      test(field, async () => {
        const { text } = await app().request('GET', path)
        for (const value of values) {
          const { status, body } = await create({ name: 'Acme', slug: newName(), [field]: value })
          expect([value, status, body.error.details[0].field]).toEqual([value, 400, field])
        }
        expect((await app().request('GET', path)).text).toBe(text)
      })
    }

    test('unknown keys, missing fields and bad pages', async () => {
      for (const body of [{}, { name: 'a' }, { slug: 'a' }, { name: 'a', slug: newName(), id: 1 }, [], 'null'])
        expect((await create(body)).status).toBe(400)
      for (const query of ['limit=0', 'limit=1001', 'limit=x', 'cursor=x', 'cursor='])
        expect((await app().request('GET', `${path}?${query}`)).status).toBe(400)
    })
  })
})
