import subprocess
import sys
import unittest

import servers

# Burns 300 ms in a thread that has ended when it says so.
BURNS = """
import threading, time

def burn():
    until = time.thread_time() + 0.3
    while time.thread_time() < until:
        pass

thread = threading.Thread(target=burn)
thread.start()
thread.join()
print(flush=True)
time.sleep(60)
"""


class CpuTest(unittest.TestCase):
    def test_threads_that_have_ended_count(self):
        with subprocess.Popen([sys.executable, "-c", BURNS], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            spent = servers.cpu_us(process.pid)
            process.kill()
        self.assertGreaterEqual(spent, 300_000)
        self.assertLess(spent, 3_000_000)


if __name__ == "__main__":
    unittest.main()
