"""ministack with two things that AWS does and it does not, and that a trail's event of a deletion needs: PutEvents takes the
events of AWS's own services (from a trail, as neither of them takes from anybody else), and a deletion and its undoing move the
secret's LastChangedDate. A third is for the doctor, and stands in ../tools/simulation.py."""
import functools
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tools"))
import simulation  # noqa: E402, F401

from ministack.app import main
from ministack.services import eventbridge, secretsmanager


def dated(call):
    @functools.wraps(call)
    def answer(request):
        is_answer = call(request)
        _, secret = secretsmanager._resolve(request["SecretId"])
        if secret:
            secret["LastChangedDate"] = int(time.time())
        return is_answer

    return answer


eventbridge._put_events = functools.partial(eventbridge._put_events, allow_aws_source=True)
secretsmanager._delete_secret = dated(secretsmanager._delete_secret)
secretsmanager._restore_secret = dated(secretsmanager._restore_secret)
main()
