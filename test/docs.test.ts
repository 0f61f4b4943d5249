/** The pages that people read. What is made from tables and snippets is checked by scripts/docs.mjs; here, that no link leads nowhere. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).map((path) => `docs/${path.replaceAll('\\', '/')}`)
const pages = [...readdirSync(root), ...docs].filter((path) => path.endsWith('.md'))

test('every link of a page leads to a file, and to a heading of it', () => {
  const dead = pages.flatMap((page) =>
    linksOf(page)
      .filter(({ path, heading }) => !existsSync(path) || (heading !== undefined && !headingsOf(path).includes(heading)))
      .map(({ link }) => `${page}: ${link}`),
  )
  expect(dead).toEqual([])
})

test('every file of src that docs/architecture.md names is there', () => {
  const named = [
    ...readFileSync(join(root, 'docs/architecture.md'), 'utf8').matchAll(
      /`((?:app|worker|protocol|transports|backends|pools|internal)\/[\w/-]+?)(?:\.ts)?`/g,
    ),
  ]
  expect(named.length).toBeGreaterThan(20)
  expect(
    named.map(([, path]) => `src/${path}`).filter((path) => !existsSync(join(root, `${path}.ts`)) && !existsSync(join(root, path))),
  ).toEqual([])
})

interface Link {
  readonly link: string
  /** Absolute. */
  readonly path: string
  readonly heading: string | undefined
}

function linksOf(page: string): Link[] {
  const text = withoutCode(readFileSync(join(root, page), 'utf8'))
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [path = '', heading] = link.split('#')
      return { link, path: path === '' ? join(root, page) : join(root, dirname(page), path), heading }
    })
}

/** As GitHub makes them from the words of a heading. */
function headingsOf(path: string): string[] {
  return [...readFileSync(path, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, words = '']) =>
    words
      .toLowerCase()
      .replaceAll(/[^\p{Letter}\p{Number}_\- ]/gu, '')
      .replaceAll(' ', '-'),
  )
}

function withoutCode(markdown: string): string {
  return markdown.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '')
}
