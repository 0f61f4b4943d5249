#!/usr/bin/env node
import { surviveOutputErrors } from '../internal/output-errors.js'
import { buildProgram } from './program.js'
import { report } from './terminal.js'

surviveOutputErrors()
const argv = process.argv.slice(2)
let code = 0
try {
  const program = await buildProgram(argv)
  if (argv.length === 0) program.outputHelp()
  else await program.parseAsync(argv, { from: 'user' })
  code = Number(process.exitCode ?? 0)
} catch (error) {
  // The flags are looked for as they stand: what is wrong may be the command line itself.
  const color = process.stderr.isTTY === true && !argv.includes('-C') && !argv.includes('--no-color') && process.env.NO_COLOR === undefined
  code = report(error, { verbose: argv.includes('--verbose'), color })
}
// An app may hold the process open (a database pool of its own): the command is done. Everything written is flushed first.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)))
