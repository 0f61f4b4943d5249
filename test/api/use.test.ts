/** The pinned public API: use.ts compiles against the built package as users' compilers see it, and every line in it that must not compile does not. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const modules = realpathSync(join(repository, 'node_modules'))
const pinned = readFileSync(join(repository, 'test/api/use.ts'), 'utf8')
const { exports, typesVersions } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
const paths = Object.keys(exports).filter((path) => path !== '.' && path !== './package.json')

/** The pinned file with further lines in its first function. */
const withLines = (...lines: readonly string[]): string =>
  pinned.replace('async function calls() {\n', `async function calls() {\n${lines.join('\n')}\n`)

const wrong: Readonly<Record<string, string>> = {
  'a call with a wrong argument': "add.delay('2', 3)",
  'a result taken for something else': 'const wrong: string = await add.delay(2, 3).get(); void wrong',
  'a line that is expected to fail and does not': '// @ts-expect-error nothing is wrong here\n  add.delay(2, 3)',
  'a chain whose steps do not fit': 'chain(show.s(1), add.s(4))',
}
const wrongSteps = [
  'chain(add.s(2, 2), show.s(), show.s())',
  'show.s(1).pipe(add.s(4))',
  'chain(group(show.s(1), show.s(2)), tsum.s())',
  'show.s(1).link(add.s(4))',
]

/** Each is a module by itself. */
const good = {
  'use.ts': pinned,
  'paths.ts': paths.map((path, index) => `import * as part${index} from 'celeriac${path.slice(1)}'\nvoid part${index}\n`).join(''),
}
const bad = {
  ...Object.fromEntries(Object.values(wrong).map((line, index) => [`wrong-${index}.ts`, withLines(`  ${line}`)])),
  'steps.ts': withLines(...wrongSteps),
}

/** A user's project: the package beside zod and valibot in its node_modules. */
let project: string

beforeAll(() => {
  project = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-api-')))
  mkdirSync(join(project, 'node_modules/@types'), { recursive: true })
  symlinkSync(repository, join(project, 'node_modules/celeriac'))
  for (const name of ['zod', 'valibot', '@types/node']) symlinkSync(join(modules, name), join(project, 'node_modules', name))
  writeFileSync(join(project, 'package.json'), '{"type":"module"}')
  for (const [name, text] of Object.entries({ ...good, ...bad })) writeFileSync(join(project, name), text)
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

/** What tsc complains about in these files. A compiler takes seconds: what has the same options is compiled at once. */
async function complaints(options: Record<string, unknown>, files: Readonly<Record<string, string>>): Promise<string> {
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    types: ['node'],
    strict: true,
    skipLibCheck: false,
    noEmit: true,
    ...options,
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: Object.keys(files) }))
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
  [{ module: 'esnext', moduleResolution: 'bundler' }],
  [{ module: 'nodenext', exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: true }],
])('use.ts and all sub-paths compile with %j', async (options) => {
  expect(await complaints(options, good)).toBe('')
})

describe('with {"module":"nodenext"}', () => {
  let all: readonly string[]
  beforeAll(async () => {
    all = (await complaints({ module: 'nodenext' }, { ...good, ...bad })).split(/^(?=\S)/m)
  })
  const ofFile = (name: string): string[] => all.filter((error) => error.startsWith(`${name}(`))

  test('use.ts and all sub-paths compile', () => {
    const failing = new Set(all.map((error) => /^[^(]+/.exec(error)?.[0]))
    expect([...failing].sort()).toEqual(Object.keys(bad).sort())
  })

  test.each(Object.keys(wrong))('%s makes it fail', (what) => {
    expect(ofFile(`wrong-${Object.keys(wrong).indexOf(what)}.ts`)[0]).toMatch(/^\S+\.ts\(\d+,\d+\): error TS/)
  })

  test('a wrong step of a workflow is told where it stands, in the types of the tasks', () => {
    const errors = ofFile('steps.ts')
    expect(errors).toHaveLength(wrongSteps.length)
    for (const [index, error] of errors.entries()) {
      const column = Number(/^\S+\.ts\(\d+,(\d+)\)/.exec(error)?.[1])
      // It is the last step that does not fit.
      expect(wrongSteps[index]?.slice(column - 1)).toMatch(/^(show|add|tsum)\.s\(\d?\)\)$/)
      expect(error).toContain("Type 'string' is not assignable to type 'number'")
      expect(error.split('\n').length).toBeLessThan(7)
    }
  })
})

test('compilers before exports find the types of the sub-paths', () => {
  // They read typesVersions, and TypeScript 7 is none of them.
  for (const path of paths) {
    const [file] = typesVersions['*'][path.slice(2)]
    expect(file).toBe(exports[path].types)
    expect(existsSync(join(repository, file))).toBe(true)
  }
})
