/**
 * An auth plugin for tests: everybody may connect; the user name says what happens.
 *
 * `tenant/user` belongs to that tenant; without a tenant to `default`. Of the users, `bad` is refused with 0x86,
 * `banned` with 0x8A, `late` gets in after a turn of the event loop, `limited` may neither publish to nor subscribe to
 * `denied/#` nor subscribe to
 * `test/nosubscribe`, and `slow` is asked about every topic by a promise.
 *
 * Methods of enhanced authentication: `one-step` accepts the data `secret`; `two-step` sends `challenge` and accepts
 * `response`, then answers `welcome`; `chatty` asks again for ever. Re-authentication works the same.
 */
export default {
  name: 'test',
  generation: 0,

  authenticate({ username }) {
    const { user } = split(username)
    if (user === 'bad') return refused(0x86)
    if (user === 'banned') return refused(0x8a)
    if (user === 'late') return new Promise((resolve) => setTimeout(resolve, 20, accepted(username)))
    return accepted(username)
  },

  async authenticateExtended({ method, data, exchange, username }) {
    const text = data === null ? '' : Buffer.from(data).toString()
    if (method === 'one-step') return text === 'secret' ? { ...accepted(username), data: null } : refused(0x87)
    if (method === 'chatty') return { result: 'continue', data: Buffer.from('more') }
    if (method !== 'two-step') return refused(0x8c)
    if (!exchange.challenged) {
      exchange.challenged = true
      return { result: 'continue', data: Buffer.from('challenge') }
    }
    return text === 'response' ? { ...accepted(username), data: Buffer.from('welcome') } : refused(0x87)
  },
}

function split(username) {
  const [tenant, user] = (username ?? '').includes('/') ? username.split('/') : ['default', username ?? '']
  return { tenant, user }
}

function accepted(username) {
  const { tenant, user } = split(username)
  const may = user === 'limited' ? (topic) => !topic.startsWith('denied/') : () => true
  const answer = user === 'slow' ? (value) => new Promise((resolve) => setTimeout(resolve, 5, value)) : (value) => value
  return {
    result: 'accepted',
    identity: {
      tenant,
      user,
      attributes: {},
      responseInformation: 'replies/here',
      permissions: {
        all: user !== 'limited' && user !== 'slow',
        publish: (topic) => answer(may(topic)),
        subscribe: (filter) => answer(may(filter) && filter !== 'test/nosubscribe'),
        receive: () => true,
      },
    },
  }
}

function refused(reasonCode) {
  return { result: 'refused', reasonCode, reason: 'The test says no' }
}
