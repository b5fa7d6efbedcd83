/** Commands that talk to a coordinator do it through its typed client. */
import { clientOver, type CoordinatorClient } from '../client/client.ts';
import { type Caller, connectTo, type TargetOptions } from './connect.ts';

export const withCoordinator = async <T>(
  options: TargetOptions,
  use: (coordinator: CoordinatorClient, url: string) => Promise<T>,
  caller: Caller = 'anyone',
): Promise<T> => {
  const { client, url } = await connectTo(options, 'coordinator', caller);
  try {
    return await use(clientOver(client), url);
  } finally {
    await client.close();
  }
};
