import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import { openNotices, webhookSignature } from '../../../coordinator/emergency/notices.ts';
import { QflError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { TestClock } from '../http/fixture.ts';

let [received, status] = [0, 204];
const server = createServer((request, response) => {
  request.resume().on('end', () => {
    received += 1;
    response.writeHead(status).end();
  });
});
const listening = new Promise<string>((resolve) => {
  server.listen(0, '127.0.0.1', () => {
    resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`);
  });
});
afterAll(() => void server.close());

const opening = async () => {
  const memory = createMemoryStore();
  const clock = new TestClock();
  let isFull = false;
  const url = await listening;
  const notices = await openNotices({
    store: {
      ...memory,
      write: (operations, options) =>
        isFull ? Promise.reject(new QflError('storage_failed')) : memory.write(operations, options),
    },
    clock,
    random: secureRandomBytes,
    logger: silentLogger,
    federation: 'test',
    settings: () => ({ webhooks: [{ url, secretEnv: null }], smtp: null }),
    env: {},
  });
  received = 0;
  return { notices, clock, fill: () => void (isFull = true) };
};
const NOTICE = { kind: 'lockdown.on', subject: 'x', text: 'y' };
const turns = async (count: number, turn: () => Promise<void>): Promise<void> => {
  for (let at = 0; at < count; at += 1) await turn();
};

describe('a webhook', () => {
  it('is signed as the Standard Webhooks say: their own example verifies', () => {
    // The example of the specification's reference libraries.
    const signature = webhookSignature(
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1614265330,
      '{"test": 2432232314}',
    );
    expect(signature).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  it('is signed with the bytes of a secret in another form, and not at all with a broken one', () => {
    const mac = createHmac('sha256', 'my own').update('a.1.b').digest('base64');
    expect(webhookSignature('my own', 'a', 1, 'b')).toBe(`v1,${mac}`);
    for (const broken of ['whsec_', 'whsec_not base64!', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS*'])
      expect(() => webhookSignature(broken, 'a', 1, 'b')).toThrow('not base64');
  });
});

describe('a notice on a disk that fails', () => {
  it('is not sent again at each tick when it was taken', async () => {
    const { notices, clock, fill } = await opening();
    status = 204;
    await notices.send(NOTICE);
    fill();
    await turns(20, async () => {
      clock.timeMs += 1_000;
      await notices.tick();
      await new Promise((resolve) => setTimeout(resolve, 5));
    });
    expect(received).toBe(1);
    notices.close();
  });

  it('waits ever longer when it was not', async () => {
    const { notices, clock, fill } = await opening();
    status = 503;
    await notices.send(NOTICE);
    fill();
    await turns(60, async () => {
      clock.timeMs += 1_000;
      await notices.tick();
      await new Promise((resolve) => setTimeout(resolve, 5));
    });
    // At 0, 5, 15 and 35 seconds, give or take the tick.
    expect(received).toBeGreaterThan(2);
    expect(received).toBeLessThan(6);
    notices.close();
  });
});
