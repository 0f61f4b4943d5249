import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { Hooks } from '../../dist/app/hooks.js'
import { silentLogger } from '../../dist/app/human-log.js'
import { importModule } from '../../dist/app/import-module.js'
import { importTasks } from '../../dist/app/import-tasks.js'
import { loadApp } from '../../dist/app/load-app.js'
import { AppNotFoundError, TimeoutError } from '../../dist/errors.js'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

function project(files: Record<string, string>): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-load-app-')))
  folders.push(folder)
  for (const [path, content] of Object.entries({ 'package.json': '{ "type": "module" }', ...files })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  return folder
}

const anApp = (name: string): string => `{ [Symbol.for('celeriac.app')]: true, name: '${name}' }`

async function complaint(spec: string | undefined, cwd: string): Promise<string> {
  const error = await loadApp(spec, { cwd }).then(
    () => 'loaded',
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(AppNotFoundError)
  return error instanceof Error ? error.message.replaceAll(cwd, '<cwd>') : ''
}

test.each([
  ['./app.ts', 'app'],
  ['app.ts', 'app'],
  ['./app', 'app'],
  ['./app.ts:mailer', 'mailer'],
  ['./app.ts#mailer', 'mailer'],
  ['./lib', 'default'],
  ['./old.cjs', 'app'],
  ['esm-only/tasks', 'app'],
  ['for-both:app', 'app'],
])('-A %s is the export %s', async (spec, exportName) => {
  const exporting = `const app = ${anApp('shop')}\n`
  const cwd = project({
    'app.ts': `export enum Size { Small }\n${exporting}export { app }; export const mailer: unknown = app`,
    'lib/index.js': `${exporting}export default app; export const same = app`,
    'old.cjs': `${exporting}module.exports = { app }`,
    'node_modules/esm-only/package.json': '{ "name": "esm-only", "type": "module", "exports": { "./tasks": { "import": "./tasks.js" } } }',
    'node_modules/esm-only/tasks.js': `${exporting}export { app }`,
    'node_modules/for-both/package.json': '{ "name": "for-both", "main": "./main.js" }',
    'node_modules/for-both/main.js': `${exporting}exports.app = app`,
  })
  const loaded = await loadApp(spec, { cwd })
  expect([loaded.app.name, loaded.exportName]).toEqual(['shop', exportName])
})

test('a TypeScript app may import TypeScript as .js, packages, and await at its top', async () => {
  const cwd = project({
    'src/app.ts': `import { name } from './name.js'\nexport const app = await Promise.resolve({ [Symbol.for('celeriac.app')]: true, name: name as string })`,
    'src/name.ts': `export const name: string = 'typed'`,
  })
  expect((await loadApp('./src/app.ts', { cwd })).app.name).toBe('typed')
})

test('an app and the worker that loads it share one celeriac, installed or in this repository', async () => {
  const source = (from: string): string =>
    `import { TimeoutError } from '${from}'\nexport const app = ${anApp('shop')}\nexport const sees: unknown = TimeoutError`
  const cwd = project({
    'app.ts': source('celeriac/dist/errors.js'),
    'near.ts': source(pathToFileURL(join(repository, 'dist/errors.js')).href),
    'node_modules/celeriac/package.json': '{ "name": "celeriac", "type": "module" }',
  })
  symlinkSync(join(repository, 'dist'), join(cwd, 'node_modules/celeriac/dist'))
  for (const file of ['app.ts', 'near.ts']) {
    await loadApp(`./${file}`, { cwd })
    expect((await importModule(join(cwd, file))).sees).toBe(TimeoutError)
  }
})

test('a file is loaded once', async () => {
  const cwd = project({ 'app.ts': `export const app = ${anApp('shop')}` })
  expect((await loadApp('./app.ts', { cwd })).app).toBe((await loadApp('./app.ts:app', { cwd })).app)
})

test('without a name, package.json decides, then the usual places', async () => {
  const cwd = project({
    'src/celeriac.ts': `export const app = ${anApp('usual')}`,
    'lib/queue.js': `export const app = ${anApp('chosen')}`,
  })
  expect((await loadApp(undefined, { cwd })).app.name).toBe('usual')
  expect((await loadApp(undefined, { cwd: join(cwd, 'lib') })).app.name).toBe('usual')
  writeFileSync(join(cwd, 'package.json'), '{ "type": "module", "celeriac": { "app": "./lib/queue.js" } }')
  expect((await loadApp(undefined, { cwd: join(cwd, 'src') })).app.name).toBe('chosen')
})

test('a web server that is called app.js is not started in search of an app', async () => {
  const cwd = project({ 'app.js': `globalThis.serverStarted = true` })
  expect(await complaint(undefined, cwd)).toMatch(/^no app was named and none was found\. Name it with -A/)
  expect(globalThis).not.toHaveProperty('serverStarted')
  writeFileSync(join(cwd, 'tasks.js'), `// import { Celeriac } from 'celeriac'\nexport const app = ${anApp('tasks')}`)
  expect((await loadApp(undefined, { cwd })).app.name).toBe('tasks')
})

test('modules of imports and include are loaded once each', async () => {
  const cwd = project({
    'a.ts': `globalThis.loadedTasks = [...(globalThis.loadedTasks ?? []), 'a']`,
    'b/index.js': `globalThis.loadedTasks.push('b')`,
  })
  const hooks = new Hooks()
  const told: unknown[] = []
  hooks.on('importModules', ({ names }) => told.push(names))
  await importTasks({ config: { imports: ['./a.ts', './b'], include: ['./a'] }, hooks, log: silentLogger }, { cwd })
  expect(Reflect.get(globalThis, 'loadedTasks')).toEqual(['a', 'b'])
  Reflect.deleteProperty(globalThis, 'loadedTasks')
  await expect(importTasks({ config: { imports: [], include: ['./c'] }, hooks, log: silentLogger }, { cwd })).rejects.toThrow(
    AppNotFoundError,
  )
})

test('what is wrong is said in words', async () => {
  const cwd = project({
    'throws.ts': `throw new Error('no database')`,
    'broken.js': `import './gone.js'`,
    'none.js': 'export const add = () => 1; export const app = {}',
    'empty.js': '',
    'circle.ts': `import './task.ts'\nexport const app = ${anApp('circle')}`,
    'task.ts': `import { app } from './circle.ts'\napp.task('one', () => 1)`,
    'circle.js': `import './task.js'\nexport const app = ${anApp('circle')}`,
    'task.js': `import { app } from './circle.js'\napp.task('one', () => 1)`,
    'two.js': `export const one = ${anApp('one')}; export const two = ${anApp('two')}`,
  })
  expect(await complaint('./absent.ts', cwd)).toBe(
    'there is no app at "./absent.ts": no such file in <cwd>. -A takes a file (./src/app.ts), a package, or either with an export (./src/app.ts:app).',
  )
  expect(await complaint('absent', cwd)).toContain('no such file in <cwd>, and no such package')
  expect(await complaint('./throws.ts', cwd)).toBe('throws.ts could not be loaded: no database')
  expect(await complaint('./broken.js', cwd)).toMatch(/^broken\.js could not be loaded: Cannot find module .*gone\.js/)
  for (const file of ['./circle.ts', './circle.js'])
    expect(await complaint(file, cwd)).toContain(
      'It may be imported by a module that it imports itself: let only the modules of tasks import the app',
    )
  expect(await complaint('./none.js', cwd)).toBe(
    'none.js exports no app. Its exports are: add, app. Export it: export const app = new Celeriac(...)',
  )
  expect(await complaint('./none.js:app', cwd)).toBe('the export "app" of none.js is not an app (new Celeriac(...)).')
  expect(await complaint('./none.js:ap', cwd)).toBe('none.js has no export "ap". Did you mean "app"? Its exports are: add, app.')
  expect(await complaint('./empty.js', cwd)).toContain('exports no app. It exports nothing.')
  expect(await complaint('./two.js', cwd)).toBe('two.js exports several apps: one, two. Say which: -A ./two.js:one')
  writeFileSync(join(cwd, 'package.json'), '{ "celeriac": { "app": 5 } }')
  expect(await complaint(undefined, cwd)).toBe('expected "celeriac": { "app": … } in <cwd>/package.json to be the path of a file, got: 5')
  writeFileSync(join(cwd, 'package.json'), '{')
  expect(await complaint(undefined, cwd)).toBe('<cwd>/package.json cannot be read as JSON. Name the app with -A.')
})
