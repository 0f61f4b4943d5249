import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { toDot } from '../../dist/cli/graph/dot.js'
import { workflowGraph } from '../../dist/cli/graph/workflow.js'
import { Celeriac, chain, chord, group } from '../../dist/index.js'
import { Project, shop } from './project.js'

const app = new Celeriac('shop', { broker: 'memory://graph' })
const add = app.task('add', (x: number, y: number): number => x + y)
const sum = app.task('sum', (all: number[]): number => all.length)
const told = app.task('told', (): void => {})

/** The edges by the labels of their ends. */
function drawn(signature: unknown): string[] {
  const { nodes, edges } = workflowGraph(JSON.parse(JSON.stringify(signature)))
  const label = (id: string): string => nodes.find((node) => node.id === id)?.label ?? id
  return edges.map(({ from, to, label: how }) => `${label(from)} -> ${label(to)}${how === undefined ? '' : ` (${how})`}`)
}

test('a chain is drawn in its order, a group side by side, a chord with what it waits for', () => {
  expect(drawn(chain(add.s(1, 2), add.s(3)))).toEqual(['add(… 1, 2) -> add(… 3)'])
  expect(drawn(group([add.si(1, 2), add.si(3, 4)]))).toEqual([])
  expect(drawn(chord(group([add.si(1, 2), add.si(3, 4)]), sum.s()))).toEqual([
    'add(1, 2) -> all 2',
    'add(3, 4) -> all 2',
    'all 2 -> sum(…)',
  ])
  expect(drawn(chain(add.s(1, 2), group([add.s(3), add.s(4)]), sum.s()))).toEqual([
    'add(… 3) -> all 2',
    'add(… 4) -> all 2',
    'all 2 -> sum(…)',
    'add(… 1, 2) -> add(… 3)',
    'add(… 1, 2) -> add(… 4)',
  ])
  expect(drawn(add.s(1, 2).link(told.si()).onError(told.si()))).toEqual([
    'add(… 1, 2) -> told() (link)',
    'add(… 1, 2) -> told() (on error)',
  ])
})

test('what is no signature is refused, and names break out of no text of DOT', () => {
  expect(() => workflowGraph({ task: 5 })).toThrow('task')
  const dot = toDot({ name: 'a"b', nodes: [{ id: 'x', label: 'say "hi"\\\nthere' }], edges: [{ from: 'x', to: 'x', label: 'l' }] })
  expect(dot).toContain('"x" [label="say \\"hi\\"\\\\\\nthere", shape="box"]')
  expect(dot).toContain('digraph "a\\"b" {')
})

test('routes, results and workflows are drawn on the command line, and the shell runs code with the app', async () => {
  await using project = new Project({
    'tasks.ts': `${shop.replace("resultExpires: '2h'", "resultExpires: '2h', taskRoutes: { 'gr*': 'polite' }, taskAlwaysEager: true")}`,
  })
  const routes = await project.run(['graph', 'routes', '--json'])
  expect(JSON.parse(routes.stdout).edges).toEqual([
    { from: 'task add', to: 'queue celery' },
    { from: 'task fail', to: 'queue celery' },
    { from: 'task greet', to: 'queue polite' },
  ])
  writeFileSync(join(project.folder, 'flow.json'), JSON.stringify(add.s(1, 2)))
  expect(await project.run(['graph', 'workflow', 'flow.json'])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('"n1" [label="add(… 1, 2)"'),
  })
  expect(await project.run(['graph', 'result', 'no-such-task'])).toMatchObject({ code: 0, stdout: expect.stringContaining('PENDING') })
  const code =
    'const three = await add.delay(1, 2).get()\nreturn [three, JSON.parse(JSON.stringify(chain(add.s(1, 2), add.s(3)))).task, typeof tasks.greet.s]'
  expect(await project.run(['shell', '--json'], {}, code)).toMatchObject({ code: 0, stdout: '[3,"celery.chain","function"]\n' })
  expect(await project.run(['shell'], {}, 'add(')).toMatchObject({ code: 64 })
}, 60_000)
