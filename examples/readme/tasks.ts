import { Celeriac } from 'celeriac'

export const app = new Celeriac('hello')

export const add = app.task('add', (x: number, y: number) => x + y)
