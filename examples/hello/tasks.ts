import { Celeriac } from 'celeriac'

// No broker is named: tasks and results are kept in .celeriac/ of the working directory, and any number of processes can share them.
export const app = new Celeriac('hello')

export const add = app.task('hello.add', (x: number, y: number) => x + y)

export const square = app.task('hello.square', (n: number) => n * n)

export const remind = app.task('hello.remind', (what: string) => `remember: ${what}`)

class DivisionByZero extends Error {}

export const divide = app.task('hello.divide', (x: number, y: number) => {
  if (y === 0) throw new DivisionByZero(`${x} / ${y} has no value`)
  return x / y
})

class MailServerBusy extends Error {}

// Fails at the first try, as mail servers do, and is run again a second later.
export const sendEmail = app.task(
  'hello.sendEmail',
  { bind: true, autoretryFor: [MailServerBusy], maxRetries: 3, defaultRetryDelay: '1s' },
  async (self, to: string) => {
    if (self.request.retries === 0) throw new MailServerBusy('421 try again later')
    return { to, tries: self.request.retries + 1 }
  },
)
