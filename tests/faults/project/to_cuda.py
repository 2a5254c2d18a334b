from utils import get_model

model = get_model()
model.cuda()
