// The worker in which streams are read: the page stays quick, however large a file is.
import { expose } from 'comlink';
import { Session } from './model/session.ts';

expose(new Session());
