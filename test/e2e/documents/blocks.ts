import { join } from 'node:path'

/** One command of a block, continued lines joined. */
export interface Command {
  readonly text: string
  /** What stands behind its `#`, or nothing. */
  readonly comment: string
}

/** A block of shell commands in a document. */
export interface Block {
  readonly document: string
  /** `docs/redis.md:8`, the line of the fence. */
  readonly place: string
  /** Behind the language: what it needs that no test has, or nothing. */
  readonly mark: string
  readonly script: string
  readonly commands: readonly Command[]
}

export const root = join(import.meta.dir, '..', '..', '..')
/** The marks of blocks that nothing here runs: they change a project of Railway, or need a container engine. */
export const marks: readonly string[] = ['railway', 'docker']

const fence = /^( *)```(?:sh|bash|shell|console|zsh)\b *([^\n]*)\n([^]*?)^ *```$/gm
const names = ['*.md', 'docs/**/*.md'].flatMap((glob) => [...new Bun.Glob(glob).scanSync(root)]).toSorted()
const blocks = (await Promise.all(names.map(readBlocks))).flat()
const claimed = new Set<Block>()

/** The text of a document. */
export function documentText(name: string): Promise<string> {
  return Bun.file(join(root, name)).text()
}

/** The block of a document with this first command, from now on one that is run. Throws where there is none. */
export function claimBlock(document: string, first: string): Block {
  const block = blocks.find((each) => each.document === document && each.commands[0]?.text === first)
  if (block === undefined) throw new Error(`${document} has no block that begins with: ${first}`)
  claimed.add(block)
  return block
}

/** All blocks of a document without a mark, from now on run. */
export function claimDocument(document: string): readonly Block[] {
  const found = blocks.filter((each) => each.document === document && each.mark === '')
  for (const block of found) claimed.add(block)
  return found
}

/** Where the blocks are that nobody claimed and that have no mark that is known. */
export function strayBlocks(): readonly string[] {
  return blocks.filter((block) => !claimed.has(block) && !marks.includes(block.mark)).map(({ place }) => place)
}

async function readBlocks(document: string): Promise<readonly Block[]> {
  const text = await documentText(document)
  return [...text.matchAll(fence)].map(([, indent = '', mark = '', body = ''], index, all) => {
    const script = body.replaceAll(new RegExp(`^${indent}`, 'gm'), '')
    const line = text.slice(0, all[index]?.index).split('\n').length
    return { document, place: `${document}:${line}`, mark: mark.trim(), script, commands: commandsOf(script) }
  })
}

function commandsOf(script: string): readonly Command[] {
  return script
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) => {
      const [, text = '', comment = ''] = /^(.*?)(?:(?:^|\s)#\s*(.*))?$/.exec(line) ?? []
      return { text: text.trim(), comment }
    })
    .filter(({ text }) => text !== '')
}
