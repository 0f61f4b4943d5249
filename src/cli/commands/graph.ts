import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { didYouMean } from '../../internal/did-you-mean.js'
import { globalFlags } from '../flags.js'
import { routesGraph, workersGraph } from '../graph/cluster.js'
import { type Graph, toDot } from '../graph/dot.js'
import { resultGraph } from '../graph/result.js'
import { workflowGraph } from '../graph/workflow.js'
import { openTerminal, type Terminal } from '../terminal.js'
import { UsageError } from '../usage-error.js'
import { type CommandContext, withApp } from '../with-app.js'

type Draw = (context: CommandContext, given: string | undefined) => Promise<Graph> | Graph

const drawings: Readonly<Record<string, Draw>> = {
  workers: workersGraph,
  routes: routesGraph,
  result: ({ app }, given) => resultGraph(app.result(needed(given, 'result', 'the id of a task'))),
}

const all = [...Object.keys(drawings), 'workflow']

export function define(command: Command): void {
  command
    .argument('<what>', all.join(', '))
    .argument('[of]', 'workflow: a signature as JSON, a file of it, or - for the standard input; result: the id of a task')
    .option('--json', 'write one JSON object instead: name, nodes and edges')
    .addHelpText(
      'after',
      `
workers    the workers that answer, their broker and where results go
routes     which queue each task of the app goes to, and which workers take from it
workflow   what follows what in a chain, group or chord: JSON.stringify(chain(...))
result     the tasks that came of one, with their states

The picture is in the DOT language of Graphviz: celeriac graph routes | dot -Tsvg > routes.svg`,
    )
    .action((what: string, of: string | undefined, { json }: { readonly json?: true }) => {
      const show = (graph: Graph, terminal: Terminal): void => terminal.data(json === true ? JSON.stringify(graph) : toDot(graph))
      // It is all in the JSON: no app is needed.
      if (what === 'workflow')
        return show(
          workflowGraph(jsonOf(needed(of, what, 'a signature as JSON, a file of it, or - for the standard input'))),
          openTerminal(globalFlags(command)),
        )
      const draw = Object.hasOwn(drawings, what) ? drawings[what] : undefined
      if (draw === undefined) throw unknownDrawing(what)
      return withApp(command, async (context) => show(await draw(context, of), context.terminal))
    })
}

function unknownDrawing(what: string): UsageError {
  if (what === 'bootsteps') return new UsageError(`a worker of celeriac has no bootsteps to draw; there are: ${all.join(', ')}`)
  const near = didYouMean(what, all)
  return new UsageError(`expected celeriac graph ${all.join('|')}, got: ${what}.${near === undefined ? '' : ` Did you mean ${near}?`}`)
}

function needed(given: string | undefined, what: string, of: string): string {
  if (given !== undefined) return given
  throw new UsageError(`celeriac graph ${what} needs ${of}`)
}

function jsonOf(given: string): unknown {
  const text = /^\s*[[{]/.test(given) ? given : read(given)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`expected JSON: ${error instanceof Error ? error.message : error}`)
  }
}

function read(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8')
  } catch (error) {
    throw new UsageError(`expected JSON, or a file of it: ${error instanceof Error ? error.message : error}`)
  }
}
