/** The pinned public API: use.ts compiles against the built package as users' compilers see it, and every line in it that must not compile does not. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const modules = realpathSync(join(repository, 'node_modules'))
const pinned = join(repository, 'test/api/use.ts')

/** A user's project: the package beside zod and valibot in its node_modules. */
let project: string

beforeEach(() => {
  project = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-api-')))
  mkdirSync(join(project, 'node_modules/@types'), { recursive: true })
  symlinkSync(repository, join(project, 'node_modules/celeriac'))
  for (const name of ['zod', 'valibot', '@types/node']) symlinkSync(join(modules, name), join(project, 'node_modules', name))
  writeFileSync(join(project, 'package.json'), '{"type":"module"}')
  copyFileSync(pinned, join(project, 'use.ts'))
})

afterEach(() => rmSync(project, { recursive: true, force: true }))

/** What tsc complains about in the project. */
async function complaints(options: Record<string, unknown>): Promise<string> {
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    types: ['node'],
    strict: true,
    skipLibCheck: false,
    noEmit: true,
    ...options,
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
  const tsc = spawn(process.execPath, [join(modules, 'typescript/bin/tsc'), '-p', project, '--pretty', 'false'], {
    cwd: project,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  for (const stream of [tsc.stdout, tsc.stderr]) stream.on('data', (chunk) => (out += chunk))
  await once(tsc, 'close')
  return out
}

test.each([
  [{ module: 'nodenext' }],
  [{ module: 'esnext', moduleResolution: 'bundler' }],
  [{ module: 'nodenext', exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: true }],
])('use.ts compiles with %j', async (options) => {
  expect(await complaints(options)).toBe('')
})

test.each([
  ['a call with a wrong argument', "add.delay('2', 3)"],
  ['a result taken for something else', 'const wrong: string = await add.delay(2, 3).get(); void wrong'],
  ['a line that is expected to fail and does not', '// @ts-expect-error nothing is wrong here\n  add.delay(2, 3)'],
  ['a chain whose steps do not fit', 'chain(show.s(1), add.s(4))'],
])('%s makes it fail', async (_, line) => {
  const source = readFileSync(pinned, 'utf8').replace('async function calls() {\n', `async function calls() {\n  ${line}\n`)
  writeFileSync(join(project, 'use.ts'), source)
  expect(await complaints({ module: 'nodenext' })).toMatch(/^use\.ts\(\d+,\d+\): error TS/)
})

test('a wrong step of a workflow is told where it stands, in the types of the tasks', async () => {
  const lines = [
    'chain(add.s(2, 2), show.s(), show.s())',
    'show.s(1).pipe(add.s(4))',
    'chain(group(show.s(1), show.s(2)), tsum.s())',
    'show.s(1).link(add.s(4))',
  ]
  writeFileSync(
    join(project, 'use.ts'),
    readFileSync(pinned, 'utf8').replace('async function calls() {\n', `async function calls() {\n${lines.join('\n')}\n`),
  )
  const errors = (await complaints({ module: 'nodenext' })).split(/^(?=use\.ts)/m)
  expect(errors).toHaveLength(lines.length)
  for (const [index, error] of errors.entries()) {
    const column = Number(/^use\.ts\(\d+,(\d+)\)/.exec(error)?.[1])
    // It is the last step that does not fit.
    expect(lines[index]?.slice(column - 1)).toMatch(/^(show|add|tsum)\.s\(\d?\)\)$/)
    expect(error).toContain("Type 'string' is not assignable to type 'number'")
    expect(error.split('\n').length).toBeLessThan(7)
  }
})

test('the sub-paths have types for every compiler', async () => {
  const { exports, typesVersions } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
  const paths = Object.keys(exports).filter((path) => path !== '.' && path !== './package.json')
  writeFileSync(
    join(project, 'use.ts'),
    paths.map((path, index) => `import * as part${index} from 'celeriac${path.slice(1)}'\nvoid part${index}\n`).join(''),
  )
  expect(await complaints({ module: 'nodenext' })).toBe('')
  expect(await complaints({ module: 'esnext', moduleResolution: 'bundler' })).toBe('')
  // Compilers before exports read typesVersions, and TypeScript 7 is none of them.
  for (const path of paths) {
    const [file] = typesVersions['*'][path.slice(2)]
    expect(file).toBe(exports[path].types)
    expect(existsSync(join(repository, file))).toBe(true)
  }
})
