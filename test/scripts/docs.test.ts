import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { rows } from '../../dist/app/config-table.js'
import { redisBackendTable } from '../../dist/backends/redis/option-table.js'
import { errorHelp } from '../../dist/error-help.js'
import * as errors from '../../dist/errors.js'
import { CeleriacError } from '../../dist/errors.js'
import { redisBrokerTable, refusedBrokerOptions } from '../../dist/transports/redis/option-table.js'
import { errorClasses, fillSnippets, makeDocs, updateDocs } from '../../scripts/docs.mjs'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

function project(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-docs-'))
  folders.push(folder)
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  return folder
}

test('every option is documented', async () => {
  const page = (await makeDocs(repository)).get('docs/config.md') ?? ''
  for (const [option, { sentence }] of rows) {
    expect(page).toContain(`### ${option}\n`)
    expect(sentence).toMatch(/^[A-Z].*\.$/)
  }
})

test('every transport option of Redis is documented, with what there is instead of those that are refused', async () => {
  const page = (await makeDocs(repository)).get('docs/config.md') ?? ''
  const broker = page.slice(page.indexOf('## Redis as broker'), page.indexOf('## Redis as result backend'))
  const backend = page.slice(page.indexOf('## Redis as result backend'))
  for (const [option, { sentence }] of Object.entries(redisBrokerTable)) {
    expect(broker).toContain(`| \`${option}\` |`)
    expect(sentence).toMatch(/^[A-Z].*\.$/)
  }
  for (const option of Object.keys(refusedBrokerOptions)) expect(broker).toContain(`| \`${option}\` |`)
  for (const option of Object.keys(redisBackendTable)) expect(backend).toContain(`| \`${option}\` |`)
})

test('every error code is documented, with what to do', () => {
  const described = errorClasses(readFileSync(join(repository, 'src/errors.ts'), 'utf8')).flatMap((entry) =>
    'code' in entry ? [entry] : [],
  )
  const classes = Object.values(errors).filter((value) => typeof value === 'function' && value.prototype instanceof CeleriacError)
  expect(described.map(({ name }) => name).sort()).toEqual(classes.map((found) => found.name).sort())
  expect(described.map(({ code }) => code).sort()).toEqual(Object.keys(errorHelp).sort())
  expect(described.filter(({ meaning }) => meaning === '')).toEqual([])
})

test('a snippet is what the file says now', () => {
  const root = project({ 'a.ts': 'const a = 1\n// region two\nconst b = 2\n  if (b) {}\n// endregion\n' })
  const block = (head: string, body: string): string => `Text\n\n<!-- from ${head} -->\n\`\`\`ts\n${body}\`\`\`\nEnd\n`
  expect(fillSnippets(block('a.ts#two', ''), root, 'p.md')).toBe(block('a.ts#two', 'const b = 2\n  if (b) {}\n'))
  const whole = fillSnippets(block('a.ts', 'old\nlines\n'), root, 'p.md')
  expect(whole).toBe(block('a.ts', 'const a = 1\nconst b = 2\n  if (b) {}\n'))
  expect(fillSnippets(whole, root, 'p.md')).toBe(whole)
  expect(() => fillSnippets(block('b.ts', ''), root, 'p.md')).toThrow('p.md takes a snippet from b.ts, and there is no such file')
  expect(() => fillSnippets(block('a.ts#three', ''), root, 'p.md')).toThrow('p.md: a.ts has no region three')
})

test('a page that is not current is named by the check, and written without it', async () => {
  const root = project({
    'src/errors.ts': readFileSync(join(repository, 'src/errors.ts'), 'utf8'),
    'README.md': '<!-- from x.ts -->\n```ts\nold\n```\n',
    'x.ts': 'new\n',
  })
  symlinkSync(join(repository, 'dist'), join(root, 'dist'))
  expect(await updateDocs(root, { check: true })).toEqual(['docs/config.md', 'docs/errors.md', 'docs/cli.md', 'README.md'])
  expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain('old')
  await updateDocs(root, { check: false })
  expect(await updateDocs(root, { check: true })).toEqual([])
  expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain('new')
})
